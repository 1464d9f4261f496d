//! Medians, percentiles and ratios of what was measured.

use std::time::Duration;

/// Measurements of one thing, in milliseconds or any other unit, at least one.
#[derive(Clone, Debug)]
pub(crate) struct Sample(Vec<f64>);

impl Sample {
    /// Nothing if nothing was measured.
    pub(crate) fn new(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        (!values.is_empty()).then_some(Self(values))
    }

    /// Durations as milliseconds.
    pub(crate) fn of_times(times: &[Duration]) -> Option<Self> {
        Self::new(times.iter().map(|t| t.as_secs_f64() * 1e3).collect())
    }

    /// The value that `percent` of the others are below, interpolated between neighbours.
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        let last = self.0.len() - 1;
        let at = (percent / 100.0).clamp(0.0, 1.0) * last as f64;
        let below = at.floor() as usize;
        let (low, high) = (self.0[below], self.0[(below + 1).min(last)]);
        low + (high - low) * (at - below as f64)
    }

    /// Half of the values are below.
    pub(crate) fn median(&self) -> f64 {
        self.percentile(50.0)
    }
}

/// Two things measured in turn, so that whatever slows the machine down for a while slows both.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pairs {
    /// Ours.
    pub(crate) ours: Vec<Duration>,
    /// The other's; as many, or none if there is no other.
    pub(crate) peers: Vec<Duration>,
}

impl Pairs {
    /// The median of the ratios within the pairs; below 1 ours is faster.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let ratios =
            self.ours.iter().zip(&self.peers).map(|(our, peer)| our.as_secs_f64() / peer.as_secs_f64());
        Sample::new(ratios.collect()).map(|s| s.median())
    }

    /// How much longer ours takes, as a median of the differences within the pairs, in milliseconds.
    pub(crate) fn difference(&self) -> Option<f64> {
        let differences = self
            .ours
            .iter()
            .zip(&self.peers)
            .map(|(our, peer)| (our.as_secs_f64() - peer.as_secs_f64()) * 1e3);
        Sample::new(differences.collect()).map(|s| s.median())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(values: &[u64]) -> Vec<Duration> {
        values.iter().copied().map(Duration::from_millis).collect()
    }

    #[test]
    fn a_median_lies_between_the_two_in_the_middle() {
        let sample = Sample::of_times(&ms(&[4, 1, 3, 2])).unwrap();
        assert_eq!(sample.median(), 2.5);
        assert_eq!((sample.percentile(0.0), sample.percentile(100.0)), (1.0, 4.0));
        assert!(Sample::new(Vec::new()).is_none());
    }

    #[test]
    fn ratios_are_taken_within_pairs() {
        // A machine that is ten times slower during the second pair leaves the ratio alone.
        let pairs = Pairs { ours: ms(&[1, 10, 1]), peers: ms(&[2, 20, 2]) };
        assert_eq!(pairs.ratio(), Some(0.5));
        assert_eq!(pairs.difference(), Some(-1.0));
        assert_eq!(Pairs { ours: ms(&[1]), peers: Vec::new() }.ratio(), None);
    }

    proptest! {
        #[test]
        fn percentiles_are_ordered_and_inside(values in prop::collection::vec(0.0..1e6f64, 1..50)) {
            let sample = Sample::new(values.clone()).unwrap();
            let (low, middle, high) = (sample.percentile(10.0), sample.median(), sample.percentile(90.0));
            prop_assert!(low <= middle && middle <= high);
            prop_assert!(values.iter().any(|v| *v <= low) && values.iter().any(|v| *v >= high));
        }
    }
}
