"""Claude under a run logger: what happens is told while it happens, and kept as a record.

python examples/real_claude_logged.py           # with ANTHROPIC_API_KEY
python examples/real_claude_logged.py --fake    # this machine answers
"""

from __future__ import annotations

import sys

from kairos import Step, Workflow
from kairos.adapters.claude import claude
from kairos.logger import ConsoleSink, LogLevel, RunLogger
from kairos.testing import Status
from model_parts import providers


def build(logger: RunLogger) -> Workflow:
    ask = "One line on {topic}, for {who}."
    return Workflow(
        "real-claude-logged",
        steps=[
            *(
                Step(who, claude(ask.replace("{who}", who), max_tokens=200), parallel=True)
                for who in ("children", "experts")
            ),
            Step("both", claude("Which is clearer?\n{children}\n{experts}", max_tokens=200)),
        ],
        hooks=[logger],
    )


def main() -> None:
    logger = RunLogger(verbosity=LogLevel.NORMAL, sinks=[ConsoleSink(stream=sys.stdout)])
    with providers("ANTHROPIC_API_KEY") as fake:
        if fake is not None:
            fake.reply(Status(429, retry_after=0))
        result = build(logger).run({"topic": "tides"})
    log = logger.get_log()
    print(f"{log.workflow_name}: {log.status}, {log.summary.total_retries} retries")
    kinds = [event.event_type for event in log.events]
    assert result.error is None, result.error
    assert kinds[0] == "workflow_start"
    assert kinds[-1] == "workflow_complete"
    assert fake is None or log.summary.total_retries == 1


if __name__ == "__main__":
    main()
