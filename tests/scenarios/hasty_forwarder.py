"""A forwarder that replaces connections as fast as it can: a thousand of them take minutes, not an hour.

The time for which both connections are read is a twentieth of the feed's own, and the budget of attempts, which a
thousand would use up in minutes, is wider. All else is the forwarder's own.
"""

from daemons.feed import client
from daemons.forwarder.main import main
from daemons.timing.backoff import AttemptBudget

if __name__ == "__main__":
    client.OVERLAP_SECONDS = 0.05
    client.LOOK_SECONDS = 0.01
    AttemptBudget.__init__.__defaults__ = (10**6, 300.0)
    main()
