//! What a fleet needs of a terminal: identity, enrolment, updates and health. Nothing of it is built yet; the
//! terminal's name is read from the board by `rostrum-board`. See the README of this folder.
