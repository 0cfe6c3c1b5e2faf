"""Data that is made on the spot: sprites, videos of their motions, handwritten digits."""
