"""What a person can mend. Everything else that is raised is a bug."""


class JobError(Exception):
    """Something wrong with a job, its data or this machine, in a sentence, and a hint that says what to do."""

    def __init__(self, message: str, hint: str = ""):
        super().__init__(message)
        self.message, self.hint = message, hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()
