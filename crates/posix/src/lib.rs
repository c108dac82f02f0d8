//! The only unsafe code: start a process the way the keeper needs it.
