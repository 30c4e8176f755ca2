//! Rotations and how they are judged.
