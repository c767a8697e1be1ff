"""How fast training is here, and whether that has changed: what ``rllib benchmark`` runs."""
