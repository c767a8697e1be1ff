"""The weight of a KL penalty, which keeps policies from moving too far in one update."""

from dataclasses import dataclass

from rllib.schedules import Points, value_at


@dataclass
class KLPenalty:
    """Moves towards a mean KL, as in section 4 of PPO's paper; or follows a schedule.

    Attributes:
        weight: at present, or its schedule, which is followed and not adapted.
        is_on: otherwise the weight is 0.
    """

    weight: float | Points
    is_on: bool

    def at(self, timestep: int) -> float:
        """The weight at a timestep."""
        return value_at(self.weight, timestep) if self.is_on else 0.0

    def adapt(self, mean_kl: float, target: float) -> None:
        """Weigh more after more than twice the target, and less after less than half of it.

        Args:
            mean_kl: that the update has reached, in nats.
            target: that it should reach.
        """
        if not self.is_on or not isinstance(self.weight, int | float):
            return
        if mean_kl > 2.0 * target:
            self.weight *= 1.5
        elif mean_kl < 0.5 * target:
            self.weight *= 0.5

    def restore(self, weight: float) -> None:
        """Go on from a saved weight; a schedule goes on by itself."""
        if isinstance(self.weight, int | float):
            self.weight = weight
