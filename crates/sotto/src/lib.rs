//! Private audio and video calls without identifiers: the SDK
