"""The databases that are checked and repaired."""
