"""Work of the jobs service that no call asks for."""
