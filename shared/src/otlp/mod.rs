//! The OTLP receiver and exporters.
