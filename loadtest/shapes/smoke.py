"""A few users for a quarter of a minute: does it work, and is it as fast as ever?"""

from locust import LoadTestShape

USERS, SECONDS = 4, 15


class Smoke(LoadTestShape):
    """Constant."""

    def tick(self) -> tuple[int, float] | None:
        """Users and how many of them start a second; None at the end."""
        return (USERS, USERS) if self.get_run_time() < SECONDS else None
