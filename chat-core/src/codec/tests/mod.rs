mod frames;
mod samples;
mod trip;
