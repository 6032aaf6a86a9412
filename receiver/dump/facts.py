from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Facts:
    kernel_release: str | None = None
    build_id: str | None = None
    crash_time: int | None = None
    architecture: str | None = None
    page_size: int | None = None
    pages_total: int | None = None
    pages_present: int | None = None
    dump_level: int | None = None
    compression: str | None = None
    nodename: str | None = None


def facts_untrusted(p, k):
    return Facts()
