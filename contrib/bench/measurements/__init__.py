"""The measurements, one module each: `run`, or several like it, from Settings to figures."""
