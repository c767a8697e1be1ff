"""What is trained: torch modules with RLlib's forwards, and the networks that they are made of.

    rl_module                    what every module is: ``RLModule``
    actor_critic                 policy and values: PPO, IMPALA, APPO
    q_module                     action values: DQN
    actor_q_module, critics      an actor, and critics of its actions: SAC, TD3
    observations, networks, ...  from observations to features
    spec                         how a module is made

What acts by them is in ``rllib.policies``.
"""
