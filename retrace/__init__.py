"""What users of Retrace import.

``function`` offers a Python function to orchestrations, ``Refused`` is its definite no, ``TaskContext`` tells it about
the attempt it serves. ``projection`` keeps a table by folding every ``Event`` into its rows. The client is in
`retrace.client`. Nothing here imports the service itself: a worker or a script that only needs these names starts in
milliseconds and shares no module with the engine.
"""

from retrace.functions import Refused, TaskContext, function
from retrace.projections import Event, Row, projection

__version__ = "0.1.0"

__all__ = ["Event", "Refused", "Row", "TaskContext", "__version__", "function", "projection"]
