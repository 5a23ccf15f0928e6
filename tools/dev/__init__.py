"""Development of handlers on the local stack: `innosystem dev`."""
