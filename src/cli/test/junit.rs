//! The results as JUnit's XML, for whoever runs the tests.

use std::fs::File;
use std::io;
use std::path::Path;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::Tested;

/// Writes a suite for each projection, a case for each test, and for each file that is wrong one in error.
pub(super) fn write(file: &Path, tested: &[Tested]) -> io::Result<()> {
    let mut report = Report::new("projectord");
    for Tested { projection, outcomes, problems } in tested {
        let mut suite = TestSuite::new(projection.as_str());
        for outcome in outcomes {
            let mut status = TestCaseStatus::success();
            if let Some(first) = outcome.failures.first() {
                status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_message(first.lines().next().unwrap_or_default());
                status.set_description(outcome.failures.join("\n"));
            }
            let mut case = TestCase::new(outcome.name.as_str(), status);
            case.set_classname(projection.as_str()).set_time(outcome.took);
            suite.add_test_case(case);
        }
        for problem in problems {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_message(problem.to_string());
            let mut case = TestCase::new(problem.file.display().to_string(), status);
            case.set_classname(projection.as_str());
            suite.add_test_case(case);
        }
        report.add_test_suite(suite);
    }
    report.serialize(File::create(file)?).map_err(io::Error::other)
}
