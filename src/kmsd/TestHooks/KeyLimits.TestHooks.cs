#if KMS_TEST_HOOKS
using System.Globalization;

namespace Kmsd.Keys;

/// <summary><c>KMSD_TEST_MOST_ENCRYPTIONS</c> lowers how often one version may encrypt.</summary>
internal sealed partial record KeyLimits
{
    static partial void LowerForTest(ref long encryptions)
    {
        if (Environment.GetEnvironmentVariable("KMSD_TEST_MOST_ENCRYPTIONS") is string text)
        {
            encryptions = long.Parse(text, CultureInfo.InvariantCulture);
        }
    }
}
#endif
