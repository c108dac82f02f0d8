//! Carries out HTTP, TCP and command checks.
