//! Pure call state machine, media keys, frame encryption and ICE policy
