"""What a run can be followed by other than its own `log.jsonl`; checked before anything heavy is imported."""

from __future__ import annotations

import importlib.util

from benchmark.core.errors import ConfigError, UserError, suggest

LOGS = ("tensorboard",)


def require_log(log: str | None) -> None:
    """Raise ConfigError for a kind of log that there is not, UserError when its package is not installed."""
    if log is None:
        return
    if log not in LOGS:
        raise ConfigError(f"--log {log}", "there is no such log", suggest(log, LOGS))
    if importlib.util.find_spec(log) is None:
        reason = f"the package {log} is not installed"
        raise UserError(f"--log {log}", reason, f"pip install 'gantlet[{log}]', or leave --log out")
