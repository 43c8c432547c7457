"""Everything that Robi decides and keeps; neither Streamlit nor FastAPI is imported here."""

__version__ = "0.1.0"
