"""From environments to ``SampleBatch``: env runners, here or as actors, and what they follow.

env_runner         steps a vector environment; ``rollout`` keeps the rows of a fragment
env_runner_group   all of them, wherever they are
crew               ... and who takes the place of those that fail, as ``restarts`` decides
async_sampler      ... kept busy, for algorithms that do not wait
evaluation         ... beside training, for exactly so many episodes
episodes           returns and lengths; ``episode_hooks`` calls the user's callbacks
"""
