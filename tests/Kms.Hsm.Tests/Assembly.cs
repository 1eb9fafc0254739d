using Kms.Hsm.Tests;

// C_Initialize and C_Finalize are for the whole process: one token, and so one test, at a time.
[assembly: Xunit.v3.Parallelization(Mode = Xunit.Sdk.ParallelMode.None)]
[assembly: AssemblyFixture(typeof(SoftHsm))]
