#if KMS_TEST_HOOKS
namespace Kmsd.Storage;

/// <summary><c>KMSD_TEST_RECODE=1</c>: the rows are taken as they stand, since their codes are made anew as well.</summary>
internal sealed partial class RowSet
{
    partial void AdoptForTest(SetState told)
    {
        if (Environment.GetEnvironmentVariable("KMSD_TEST_RECODE") == "1")
        {
            Staged = told;
            _committed = told;
        }
    }
}
#endif
