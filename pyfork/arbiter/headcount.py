"""How many workers are wanted: the file says it at the start, operators change it, a reload may change it back."""

from pyfork.arbiter.policy import MAXIMUM_COUNT


class Headcount:
    """The wanted count and who set it.

    TTIN and TTOU change it by one and survive a reload, unless ``workers.count`` itself has changed in the file: then
    the file wins. If that reload fails later, its change is taken back, and what operators changed meanwhile stays.

    Args:
        count: ``workers.count`` of the first generation.
        wanted: what was wanted of the arbiter that this one replaces, where it had the same count in its file.

    Attributes:
        wanted: workers, also while they are drained.
        is_drained: WINCH has sent them all away.
    """

    def __init__(self, count: int, wanted: int | None = None) -> None:
        self.wanted = count if wanted is None else wanted
        self.is_drained = False
        self._file_change = 0

    @property
    def places(self) -> int:
        """How many workers there are to be now."""
        return 0 if self.is_drained else self.wanted

    def scale(self, step: int) -> str:
        """Want ``step`` workers more, or call the drained ones back; return what to tell the operator."""
        if self.is_drained and step > 0:
            self.is_drained = False
            return f"{self.wanted} workers are wanted again"
        before = self.wanted
        self._set(before + step)
        return f"{self.wanted} workers are wanted" + (", as before: it is the limit" if self.wanted == before else "")

    def follow_file(self, count: int) -> str:
        """Let the file win, whose count a reload has changed; return what to tell the operator."""
        before = self.wanted
        self._set(count)
        self._file_change = self.wanted - before
        return f"workers.count has changed: {self.wanted} workers are wanted, {before} were"

    def take_back(self) -> None:
        """Undo what the file changed, as its reload has failed."""
        self._set(self.wanted - self._file_change)
        self._file_change = 0

    def keep(self) -> None:
        """Let what the file changed stand, as its reload is complete."""
        self._file_change = 0

    def _set(self, count: int) -> None:
        self.wanted = min(MAXIMUM_COUNT, max(1, count))
