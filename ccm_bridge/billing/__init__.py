"""The billing reasoner: facts of one patient and month, and effective-dated rules, to codes, holds and reasons.

    facts = read_facts(path.read_bytes())        # Facts, or Refused with sentences
    decision = decide(facts)                     # pure: no clock, no database

The way of a month: `reading` makes facts of JSON; `minutes` (T, and the parts of C and X that take time away) and
`tally` make counted seconds of entries; `gates` (C), `monitoring` (R) and `conflicts` (X) open or close families;
`care`, `monitoring` and `windows` climb the ladders; `decide` settles exclusions; `decision` dates, prices and
explains. A rule with the id C3 is the function `c3_...`, its numbers are in `years/rules-*.toml`, its source in
`years/sources.toml`; exclusions are rows of `years/conflicts.toml`.

Three principles carry the rest. A code rests on facts known to be true: false blocks, unknown holds. Seconds and
days are sure, out, or in doubt; the month is read once with the sure ones and once with all the possible ones, and
only codes that both readings agree on are billed. Nothing is rounded up, and no second counts twice.
"""

from ccm_bridge.billing.decide import decide
from ccm_bridge.billing.decision import Decision, Line, Step
from ccm_bridge.billing.facts import Facts
from ccm_bridge.billing.reading import Refused, read_facts
from ccm_bridge.billing.words import Outcome, Reason

__all__ = ["Decision", "Facts", "Line", "Outcome", "Reason", "Refused", "Step", "decide", "read_facts"]
