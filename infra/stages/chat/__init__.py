"""Try a run's models: baseline and candidate answer the same messages beside each other.

choosing    which two models a finished run has, and whether they are still what was evaluated
shares      how they share an accelerator, or the processor
lost_rows   the run's rows that the candidate lost
votes       which answer was better: kept in the run's folder, with the paired interval
desk        what the page asks us: it keeps no vote and computes no interval
together    all of it, for as long as the page is open
 ├─ engines   both engines, and what they compute on
 └─ opening   the page's process: what it is given
     └─ program  the page itself, in an environment of its own
"""

from infra.stages.chat.choosing import Chosen, choose
from infra.stages.chat.together import PageOptions, chat

__all__ = ["Chosen", "PageOptions", "chat", "choose"]
