//! Everything Marathon decides, as one step function. Pure.
