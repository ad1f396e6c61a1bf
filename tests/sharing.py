"""How several processes share the tests: a file on one engine is one piece of work, and the longest begin first."""

from xdist.scheduler import LoadScopeScheduling

LONGEST_FIRST = (
    "test_schema.py",
    "test_alerts.py",
    "test_board_browser.py",
    "test_retry_storm.py",
    "test_board_live.py",
    "test_board_sending.py",
    "test_model.py",
    "test_outages.py",
    "test_engines_agree.py",
    "test_kills.py",
    "test_history.py",
    "test_copy.py",
    "test_sqlite.py",
    "test_postgresql_failover.py",
    "test_first_start.py",
    "test_faults_slow.py",
    "test_workers.py",
    "test_start.py",
    "test_formats.py",
    "test_cli.py",
)
"""Files of few tests that take seconds each. One that came last would keep everybody waiting."""


class Sharing(LoadScopeScheduling):  # type: ignore[misc]  # as above
    """Hands out the work."""

    def _split_scope(self, nodeid: str) -> str:
        """Return the piece of work that a test belongs to."""
        file, _, test = nodeid.partition("::")
        return f"{file} {'postgresql' if 'postgresql' in test.partition('[')[2] else ''}"

    def _assign_work_unit(self, node: object) -> None:
        """Give a process the longest of what is still to do."""
        self.workqueue.move_to_end(min(self.workqueue, key=place), last=False)
        super()._assign_work_unit(node)


def place(scope: str) -> int:
    """Return when its turn is."""
    name = scope.partition(" ")[0].rpartition("/")[2]
    return LONGEST_FIRST.index(name) if name in LONGEST_FIRST else len(LONGEST_FIRST)
