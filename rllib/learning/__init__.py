"""From ``SampleBatch`` to better weights: learners, here or as actors, and their gradient steps.

learner_group   all learners; ``shares`` says who gets which fragments
learner         owns module, optimisers and loss
descent         one step: ``loss``, ``gradients``, ``peers``, ``optimizer``, ``precision``
*_batch         what losses read: whole fragments, or transitions that were drawn
"""
