"""The process that fits events: ``python -m bijecta.app.event_worker``.

The first line of standard input is the settings as JSON; every further line is a command or a question. The end of
standard input ends the process. Messages leave on standard output, each with its length before it.
"""

from bijecta.app.child import serve
from bijecta.app.event_lesson import EventLesson, EventSettings


def main() -> None:
    """Fit events of a generator."""
    serve(lambda record, publish: EventLesson(EventSettings(**record["settings"]), publish))


if __name__ == "__main__":
    main()
