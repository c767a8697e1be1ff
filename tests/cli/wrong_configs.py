"""A hundred slips that people make in configs, each with words of the message that helps.

Each entry is the text of a file, or what stands on the command line beside ``GOOD``.
"""

GOOD = """\
algorithm: PPO
environment:
  env: CartPole-v1
training:
  lr: 1e-3
"""


def _in(section: str, line: str, algorithm: str = "PPO") -> str:
    return f"algorithm: {algorithm}\nenvironment:\n  env: CartPole-v1\n{section}:\n  {line}\n"


def _training(line: str, algorithm: str = "PPO") -> str:
    return _in("training", line, algorithm)


def _model(line: str) -> str:
    return _in("rl_module", f"model_config:\n    {line}")


FILES: list[tuple[str, str]] = [
    # The file as a whole.
    ("", "the config is empty; it starts with 'algorithm: PPO'"),
    ("PPO\n", "should be a mapping of sections"),
    ("- algorithm: PPO\n", "should be a mapping of sections"),
    ("algorithm = PPO\n", "should be a mapping of sections"),
    ("algorithm: [PPO\n", "expected ',' or ']'"),
    ("algorithm: PPO\n\tenvironment: x\n", "a tab, which YAML does not allow; indent by spaces"),
    ("algorithm: PPO\nenvironment: env: CartPole-v1\n", "mapping values are not allowed"),
    ("a: &x 1\nb: *x\n", "anchors and aliases"),
    ("!!python/object:os.system {}\n", "tag"),
    ("---\nalgorithm: PPO\n---\nalgorithm: DQN\n", "one document"),
    # The algorithm.
    ("environment:\n  env: CartPole-v1\n", "algorithm: missing; for example 'PPO'"),
    ("algo: PPO\nenvironment:\n  env: CartPole-v1\n", "it is called 'algorithm' here"),
    ("algorithm: ppo\nenvironment:\n  env: CartPole-v1\n", "did you mean 'PPO'?"),
    ("cartpole-ppo:\n  run: PPO\n  env: CartPole-v1\n", "is a tuned example of RLlib's"),
    ("algorithm: PPOO\nenvironment:\n  env: CartPole-v1\n", "did you mean 'PPO'?"),
    ("algorithm: 3\nenvironment:\n  env: CartPole-v1\n", "should be a name, got 3"),
    ("algorithm: A2C\nenvironment:\n  env: CartPole-v1\n", "PPO with num_epochs=1"),
    ("algorithm: no_module:Algo\n", "No module named 'no_module'"),
    ("algorithm: json:loads\n", "is no algorithm"),
    ("algorithm: PPO\nalgorithm: DQN\n", "written twice; the first one is at my.yaml:1:1"),
    # Sections.
    (GOOD + "enviroment:\n  env: x\n", "did you mean 'environment'?"),
    (GOOD + "rollouts:\n  num_env_runners: 1\n", "it is called 'env_runners' here"),
    (GOOD + "exploration:\n  explore: true\n", "it is called 'env_runners' here"),
    (GOOD + "env: CartPole-v1\n", "belongs under 'environment'"),
    (GOOD + "seed: 3\n", "belongs under 'debugging'"),
    (GOOD + "num_workers: 3\n", "belongs under 'env_runners', as 'num_env_runners'"),
    (GOOD + "learning_rate: 3\n", "belongs under 'training', as 'lr'"),
    (GOOD + "n_timesteps: 1e6\n", "it is called 'stop.num_env_steps_sampled_lifetime' here"),
    (GOOD + "total_timesteps: 1e6\n", "it is called 'stop.num_env_steps_sampled_lifetime' here"),
    (GOOD + "config:\n  lr: 1e-3\n", "unknown section; there are: environment, env_runners"),
    (GOOD + "learners: 2\n", "should be a mapping, got 2"),
    (GOOD + "stop: 475\n", "should be a mapping, got 475"),
    (GOOD + "debugging: [seed, 1]\n", "should be a mapping"),
    (GOOD + "policy: MlpPolicy\n", "belongs under 'rl_module', as 'model_config'"),
    (
        "algorithm: PPO\nenvironment:\n  env:CartPole-v1\n",
        "did you mean 'env: CartPole-v1', with a",
    ),
    (GOOD + "policy: CnnPolicy\n", "belongs under 'rl_module', as 'model_config'"),
    # Settings in the wrong place.
    (_in("env_runners", "lr: 1e-3"), "belongs under 'training'"),
    (_training("num_env_runners: 2"), "belongs under 'env_runners'"),
    (_training("seed: 2"), "belongs under 'debugging'"),
    (_training("model_config: {}"), "belongs under 'rl_module'"),
    (_in("rl_module", "fcnet_hiddens: [64]"), "it is called 'model_config.fcnet_hiddens' here"),
    # Names of RLlib's old stack.
    (_in("env_runners", "num_workers: 2"), "it is called 'num_env_runners' here"),
    (_in("env_runners", "num_rollout_workers: 2"), "it is called 'num_env_runners' here"),
    (_in("env_runners", "num_envs_per_worker: 2"), "'num_envs_per_env_runner'"),
    (_training("sgd_minibatch_size: 64"), "it is called 'minibatch_size' here"),
    (_training("num_sgd_iter: 10"), "it is called 'num_epochs' here"),
    (_training("train_batch_size: 0"), "train_batch_size: should be"),
    (_training("lambda: 0.9"), "it is called 'lambda_' here"),
    (_training("lr_schedule: [[0, 1e-3]]"), "it is called 'lr' here"),
    (_training("model: {}"), "it is called 'model_config' here, under 'rl_module'"),
    (_in("env_runners", "exploration_config: {}"), "the nearest setting is 'explore'"),
    (_in("learners", "num_gpus: 1"), "it is called 'num_gpus_per_learner' here"),
    (_in("evaluation", "evaluation_num_workers: 1"), "'evaluation_num_env_runners'"),
    (_in("resources", "framework: tf2"), 'there is no other than "torch"'),
    (_in("debugging", "framework: torch"), "leave it out: there is no other"),
    # Names of Stable-Baselines3, its zoo, CleanRL and Sample Factory.
    (_training("n_steps: 2048"), "it is called 'rollout_fragment_length' here"),
    (_training("n_epochs: 10"), "it is called 'num_epochs' here"),
    (_training("batch_size: 64"), "it is called 'minibatch_size' here"),
    (_training("clip_range: 0.2"), "it is called 'clip_param' here"),
    (_training("ent_coef: 0.01"), "it is called 'entropy_coeff' here"),
    (_training("vf_coef: 0.5"), "it is called 'vf_loss_coeff' here"),
    (_training("gae_lambda: 0.95"), "it is called 'lambda_' here"),
    (_training("max_grad_norm: 0.5"), "it is called 'grad_clip' here"),
    (_training("learning_rate: 3e-4"), "it is called 'lr' here"),
    (_training("policy_kwargs: {}"), "it is called 'model_config' here, under 'rl_module'"),
    (_training("normalize: true"), "it is called 'observation_filter' here, under 'env_runners'"),
    (_training("use_sde: true"), "not supported"),
    (_training("buffer_size: 1000", "DQN"), "'replay_buffer_config.capacity'"),
    (_training("learning_starts: 100", "DQN"), "'num_steps_sampled_before_learning_starts'"),
    (_training("target_update_interval: 100", "DQN"), "'target_network_update_freq'"),
    (_training("exploration_final_eps: 0.1", "DQN"), "it is called 'epsilon' here"),
    (_training("train_freq: 4", "DQN"), "it is called 'rollout_fragment_length' here"),
    (_training("gradient_steps: 4", "DQN"), "it is called 'training_intensity' here"),
    (_training("num_minibatches: 4"), "it is called 'minibatch_size' here"),
    (_training("anneal_lr: true"), "it is called 'lr' here"),
    (_training("clip_vloss: true"), "it is called 'vf_clip_param' here"),
    (_training("exploration_loss_coeff: 0.1"), "it is called 'entropy_coeff' here"),
    (_training("ent_coef: auto", "SAC"), "it is called 'initial_alpha' here"),
    (_training("stats_window_size: 100"), "'metrics_num_episodes_for_smoothing'"),
    (_in("debugging", "verbose: 1"), "the nearest setting is 'log_level'"),
    (GOOD.replace("\ntraining", "\n  env_kwargs: {}\ntraining"), "it is called 'env_config' here"),
    (GOOD.replace("\ntraining", "\n  frame_stack: 4\ntraining"), "'env_to_module_connector'"),
    (
        GOOD.replace("\ntraining", "\n  horizon: 100\ntraining"),
        "the nearest setting is 'env_config'",
    ),
    (_in("reporting", "loggers: tensorboard"), "tensorboard: true, the default"),
    # Misspelt names.
    (_training("gama: 0.9"), "did you mean 'gamma'?"),
    (_training("LR: 0.9"), "did you mean 'lr'?"),
    (_training("entropy_coef: 0.9"), "did you mean 'entropy_coeff'?"),
    (_in("env_runners", "num_env_runner: 2"), "did you mean 'num_env_runners'?"),
    (_model("fcnet_hidden: [8]"), "did you mean 'fcnet_hiddens'?"),
    (_model("use_lstn: true"), "did you mean 'use_lstm'?"),
    (_training("clip_param: 0.2", "DQN"), "not a setting of DQN, but of APPO, PPO"),
    (_training("epsilon: 0.2", "PPO"), "not a setting of PPO, but of DQN"),
    # Wrong values.
    (_training("lr: fast"), "lr: should be a valid number, got 'fast'"),
    (_training("lr: -1"), "greater than or equal to 0"),
    (_training("lr: [1e-3, 1e-4]"), "[[timestep, value], ...]"),
    (_training("lr: [[100, 1e-3]]"), "begins at timestep 0"),
    (_training("gamma: 99"), "less than or equal to 1"),
    (_training("gamma: 0,99"), "did you mean 0.99?"),
    (_training('gamma: "0.99"'), "write it without quotes"),
    (_training("train_batch_size_per_learner: 1e4"), "did you mean 10000?"),
    (_training("num_epochs: 2.5"), "should be a valid integer"),
    (
        _training("lr: lin_0.001"),
        "a linear schedule is written [[0, 0.001]",
    ),
    (
        _training("shuffle_batch_per_epoch: yes"),
        "got 'yes'; did you mean true?",
    ),
    (_training("grad_clip_by: norms"), "should be 'value', 'norm' or 'global_norm'"),
    (_in("env_runners", "num_env_runners: -1"), "greater than or equal to 0"),
    (_in("env_runners", "num_env_runners: two"), "should be a valid integer"),
    (_in("env_runners", "rollout_fragment_length: Auto"), "'auto'"),
    (_model("fcnet_hiddens: 64"), "should be a list, got 64"),
    (_model("fcnet_hiddens: [64, x]"), "fcnet_hiddens[1]"),
    (_model("fcnet_activation: gelu"), "'tanh', 'relu', 'silu' or 'linear'"),
    (_training("minibatch_size: 99999"), "more than train_batch_size_per_learner"),
    (GOOD.replace("CartPole-v1", "CartPole-v9"), "did you mean 'CartPole-v1'?"),
    (GOOD.replace("CartPole-v1", "Cartpole-v1"), "did you mean 'CartPole-v1'?"),
    (GOOD.replace("CartPole-v1", "no_such_module:Env-v0"), "No module named 'no_such_module'"),
    ("algorithm: PPO\ntraining:\n  lr: 1e-3\n", "name an environment"),
    (GOOD.replace("CartPole-v1", "[CartPole-v1]"), "did you mean 'CartPole-v1'?"),
    (GOOD.replace("CartPole-v1", "PongNoFrameskip-v3"), "-v3'; did you mean '"),
    (GOOD.replace("CartPole-v1", "math:pi"), "makes no environment"),
    (_training("lr:"), "should be a valid number, got None"),
    (_training("lr: .nan"), "should be a finite number, got nan"),
    (_training("lr: ${LR}"), "got '${LR}'"),
    (_training("train_batch_size_per_learner: 1:30"), "got '1:30'"),
    (_in("debugging", "seed: 2026-01-01"), "should be a valid integer"),
    (_training(f"train_batch_size_per_learner: {10**40}"), "is beyond any number of things"),
    (_model(f"fcnet_hiddens: [64, {2**63}]"), "model_config.fcnet_hiddens: a number of 64 bits"),
    (_in("learners", "device: gpu"), "should be 'auto', 'cpu' or 'cuda'"),
    (_in("multi_agent", "policies: [a, b]"), "which of a, b acts for an agent"),
    # When to stop.
    (GOOD + "stop:\n  num_env_steps_sampled_lifetime: 0\n", "should be greater than 0, got 0"),
    (GOOD + "stop:\n  episode_reward_mean: 475\n", "'env_runners/episode_return_mean'"),
    (GOOD + "stop:\n  timesteps_total: 475\n", "'num_env_steps_sampled_lifetime'"),
    (GOOD + "stop:\n  training_iteration: soon\n", "should be a number, got 'soon'"),
    (GOOD + "stop:\n  env_runners/episode_retrun_mean: 1\n", "episode_return_mean'"),
]

ARGUMENTS: list[tuple[str, str]] = [
    ("lr", "write it as key=value"),
    ("CartPole-v1", "write it as key=value, for example env=CartPole-v1"),
    ("lr:3", "write it as key=value"),
    ("=3", "write it as key=value"),
    ("training=3", "is a section; name a setting in it"),
    ("learners.lr=1", "belongs to 'training'"),
    ("lr.x=1", "is no mapping"),
    ("algorithm=DQN", "take another (rllib presets)"),
    ("model_config.fcnet_hiddens=64,64", "did you mean [64,64]?"),
    ("lr==3", "should be a valid number, got '=3'"),
    ("learning_rate=1", "it is called 'lr' here"),
    ("n_timesteps=1000", "it is called 'stop.num_env_steps_sampled_lifetime' here"),
]
