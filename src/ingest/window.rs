//! Walking along a line whose density is not known, in steps that hold about the same.

/// A step along the line, from `from` to just before `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) from: i128,
    pub(super) to: i128,
}

impl Step {
    /// Whether it can be made no smaller.
    pub(super) fn is_least(self) -> bool {
        self.to - self.from <= 1
    }
}

/// The walk. Steps grow where the line is empty and shrink where it is full.
#[derive(Debug)]
pub(super) struct Walk {
    at: i128,
    end: i128,
    width: i128,
    target: usize,
    /// From here on it is not known that the line is full.
    full_to: i128,
}

impl Walk {
    /// From `start` to just before `end`; a step should hold about `target` items.
    pub(super) fn new(start: i128, end: i128, width: i128, target: usize) -> Self {
        Self { at: start, end, width: width.max(1), target: target.max(1), full_to: start }
    }

    /// The step to try next; none at the end.
    pub(super) fn step(&self) -> Option<Step> {
        let to = self.at.saturating_add(self.width).min(self.end);
        (self.at < self.end).then_some(Step { from: self.at, to })
    }

    /// The step held more than can be taken at once: a smaller one is next, from the same place.
    pub(super) fn too_much(&mut self, step: Step) {
        self.width = ((step.to - step.from) / 2).max(1);
        self.full_to = step.to;
    }

    /// The step held `items`: on to the next.
    pub(super) fn took(&mut self, step: Step, items: usize) {
        self.at = step.to;
        self.width = match items {
            0 => self.width.saturating_mul(4),
            items if items * 2 < self.target => self.width.saturating_mul(2),
            items if items > self.target => self.width / 2,
            _ => self.width,
        };
        if items == 0 && self.at < self.full_to {
            // What fills it lies ahead: go half the way there, not all of it.
            self.width = (self.full_to - self.at) / 2;
        }
        self.width = self.width.max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_taken_once_in_steps_that_are_not_too_large() {
        // A thousand at the start, a gap, three close together, and ten thousand in one place.
        let mut items: Vec<i128> = (0..1000).collect();
        items.extend([1_000_000_000, 1_000_000_001, 1_000_000_002]);
        items.extend(std::iter::repeat_n(2_000_000_000, 10_000));
        let mut walk = Walk::new(-5_000_000_000, 3_000_000_000, 1 << 40, 100);
        let (mut taken, mut steps) = (0, 0);
        while let Some(step) = walk.step() {
            steps += 1;
            let held = items.iter().filter(|item| (step.from..step.to).contains(*item)).count();
            if held > 100 && !step.is_least() {
                walk.too_much(step);
            } else {
                walk.took(step, held);
                taken += held;
            }
        }
        assert_eq!(taken, items.len());
        assert!(steps < 400, "{steps} steps");
    }
}
