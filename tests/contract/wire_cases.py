"""Every case of requests on the wire: who found it is told where it is defined."""

from tests.contract import h1spec, smuggling

CASES = [*h1spec.CASES, *smuggling.GARDEN, *smuggling.KINDS, *smuggling.NAMED]
