//! Recorded histories, end-to-end and crash tests, fuzz targets and the rules
//! of who may import whom. Everything is in `tests/it`; no crate imports this one.
