"""A load well below the knee for ten minutes: does memory stay flat, and every call succeed?"""

from locust import LoadTestShape

USERS, SECONDS = 8, 600


class Soak(LoadTestShape):
    """Constant, and long."""

    def tick(self) -> tuple[int, float] | None:
        """Users and how many of them start a second; None at the end."""
        return (USERS, USERS) if self.get_run_time() < SECONDS else None
