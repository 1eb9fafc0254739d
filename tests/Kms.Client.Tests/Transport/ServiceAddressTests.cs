using Kms.Client.Transport;

namespace Kms.Client.Tests.Transport;

public sealed class ServiceAddressTests
{
    [Theory]
    [InlineData("/given", "/environment", false, "/given")]
    [InlineData("/given", "/environment", true, "/given")]
    [InlineData(null, "/environment", false, "/environment")]
    [InlineData("", "/environment", false, "/environment")]
    [InlineData(null, "/environment", true, ServiceAddress.Default)]
    [InlineData(null, "", false, ServiceAddress.Default)]
    [InlineData(null, null, false, ServiceAddress.Default)]
    public void The_socket_is_the_callers_then_the_environments_then_the_default(
        string? given, string? environment, bool secure, string path) =>
        Assert.Equal(path, ServiceAddress.Choose(given, environment, secure));
}
