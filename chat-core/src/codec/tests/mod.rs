mod frames;
mod golden;
mod hostile;
mod names;
mod random;
mod round_trips;
mod samples;
