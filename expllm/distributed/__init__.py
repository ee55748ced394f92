"""What runs on Ray and talks to stores: wiring around the pure functions of the package."""
