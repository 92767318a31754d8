mod frames;
mod golden;
mod hostile;
mod names;
mod random;
mod samples;
mod trip;
