"""Everything that Robi decides and keeps; neither Streamlit nor FastAPI is imported here."""

import os

# onnxruntime tells its makers what machine this is, and keeps a queue for that under the user's cache.
# Robi asks nobody; every process of it imports this package before any library.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"
