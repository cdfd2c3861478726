"""What is told at which address: to callers, to those who run the service, or to both at one."""

import enum

from ipquery.serve.api import contract, metrics, snapshot_file, status
from ipquery.serve.api.openapi_schemas import OPENAPI_PATH

_FIGURES = frozenset((metrics.PATH, status.PATH, snapshot_file.PATH))
_OPERATORS = _FIGURES | {contract.HEALTH_PATH, contract.READY_PATH, OPENAPI_PATH}


class Where(enum.Enum):
    """Whose address it is."""

    EVERYBODY = "everybody's"
    CALLERS = "callers', as there is another one for those who run the service"
    OPERATORS = "theirs"

    def has(self, path: str) -> bool:
        """Whether a path is there, of those that there are."""
        if self is Where.EVERYBODY:
            return True
        return path in _OPERATORS if self is Where.OPERATORS else path not in _FIGURES
