"""How a cluster of many machines comes to be: a batch script for SLURM, a manifest for Kubernetes.

Pure text: nothing here starts anything. Both have the head, the nodes that join it, and one
``rllib train`` that continues what an earlier one has begun.
"""
