"""Many calls in one statement: coalescing, dividing at the culprit, and a lane for locked rows."""
