"""Twice as many users at every step, up to and beyond the knee where throughput stops to rise."""

from locust import LoadTestShape

STEPS = (1, 2, 4, 8, 16, 32, 64, 128)
SECONDS = 15  # each


class Steps(LoadTestShape):
    """Up a staircase."""

    def tick(self) -> tuple[int, float] | None:
        """Users and how many of them start a second; None at the end."""
        step = int(self.get_run_time() / SECONDS)
        return (STEPS[step], STEPS[step]) if step < len(STEPS) else None
