"""All kinds of hostile data by name."""

# Their functions register when they are imported.
from tests.fuzz import scales, shapes
from tests.fuzz.geometry import KINDS, Geometry, Kind

__all__ = ["KINDS", "Geometry", "Kind", "scales", "shapes"]
