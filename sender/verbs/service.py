"""start, stop, status, restart: the words and codes of RHEL 6's /etc/init.d/kdump."""

from __future__ import annotations

from sender.failure import Failure, NotPossible
from sender.kernel.kexec import unload
from sender.verbs.saved import save_core_and_reboot, save_raw
from sender.verbs.session import Prepared, Session, prepare

KEXEC_SECONDS = 300


def start(session: Session) -> int:
    """Load the crash kernel; building its image first where something changed.

    In a root file system that a capture kernel started (mount_root_run_init), save the dump instead.
    """
    if _is_capture_kernel(session):
        return save_core_and_reboot(session)
    with session.host.lock():
        return _start(session)


def stop(session: Session) -> int:
    """``kexec -p -u``."""
    with session.host.lock():
        return _stop(session)


def restart(session: Session) -> int:
    """Prepare, and only when that worked unload and load: a mistake leaves the old one loaded."""
    with session.host.lock():
        try:
            prepared = prepare(session)
        except Failure as failure:
            session.warn(str(failure))
            session.warn("nothing was changed: what was loaded stays loaded")
            session.verdict("Starting kdump:", good=False)
            return failure.exit_code
        # RHEL 6 starts even where stopping failed
        _stop(session)
        return _load(session, prepared)


def status(session: Session) -> int:
    """0 operational, 3 not, as LSB's init scripts."""
    state = session.reserved()
    if not state.supported:
        session.say("Kdump is unsupported on this kernel")
        return 3
    session.say("Kdump is operational" if state.loaded else "Kdump is not operational")
    return 0 if state.loaded else 3


def _start(session: Session) -> int:
    if session.reserved().loaded:
        session.verdict("Kdump already running", good=True)
        return 0
    try:
        save_raw(session)
        prepared = prepare(session)
    except Failure as failure:
        session.warn(str(failure))
        session.host.log(f"failed to start up: {failure}".splitlines()[0])
        session.verdict("Starting kdump:", good=False)
        return failure.exit_code
    return _load(session, prepared)


def _load(session: Session, prepared: Prepared) -> int:
    failed = ""
    for attempt in prepared.kexec:
        ran = session.host.run(attempt.argv, KEXEC_SECONDS)
        if ran.status == 0:
            if failed:
                session.warn(f"{failed}; loaded by {attempt.why}")
            session.host.log("kexec: loaded kdump kernel")
            session.host.log("started up")
            session.verdict("Starting kdump:", good=True)
            return 0
        said = (ran.err or ran.out).strip().splitlines()
        failed = f"{attempt.why} failed ({ran.status}): {said[-1] if said else 'no message'}"
    session.warn(failed)
    session.host.log("kexec: failed to load kdump kernel")
    session.verdict("Starting kdump:", good=False)
    return NotPossible.exit_code


def _stop(session: Session) -> int:
    ran = session.host.run(unload(session.secure_boot()), KEXEC_SECONDS)
    good = ran.status == 0
    if not good:
        session.warn((ran.err or f"kexec ended with {ran.status}").strip())
    session.host.log("stopped" if good else "failed to stop")
    session.verdict("Stopping kdump:", good)
    return 0 if good else 1


def _is_capture_kernel(session: Session) -> bool:
    """/proc/vmcore exists only in a kernel that was started by a crash."""
    try:
        return session.host.path("/proc/vmcore").stat().st_size > 0
    except OSError:
        return False
